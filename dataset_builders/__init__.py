"""From recordings and scorings to checked rows for training."""
