"""The figures of sleep staging as a module of Hugging Face evaluate."""
