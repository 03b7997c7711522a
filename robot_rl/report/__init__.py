"""Reports: what a run learned, as one self-contained HTML file."""
