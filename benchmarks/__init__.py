"""What is measured: figures of agreement from published predictions, and speed."""
