"""Tables in Markdown, for cards and READMEs."""

import pandas as pd


def markdown_table(table: pd.DataFrame) -> str:
    """Lay a table out in Markdown; numbers are written as they are, whole ones with separators of thousands.

    Args:
        table: its column names become the header.

    Returns:
        the lines of the table.
    """
    lines = [list(table.columns), ["---"] * table.shape[1], *table.astype(object).values.tolist()]
    return "\n".join(
        f"| {' | '.join(f'{cell:,}' if isinstance(cell, int) else str(cell) for cell in line)} |" for line in lines
    )
