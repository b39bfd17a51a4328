"""The report of a night: one HTML file that a clinician reads without this package and without a network.

`traces`, `charts`, `cautions` and `explained` each make one part; `page` joins them and fills `page.html`.
"""
