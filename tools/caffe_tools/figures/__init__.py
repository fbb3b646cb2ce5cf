"""The figures, and where they are shown. matplotlib takes its time: import these where drawn."""
