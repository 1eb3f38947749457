"""The views in a browser: a front that visitors talk to, and a session process for each of them."""
