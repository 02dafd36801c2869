"""The same 20 simple tests in five ways of getting a server: each a small suite of its own."""
