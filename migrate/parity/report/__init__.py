"""The report of a comparison, as JSON, HTML and Markdown."""
