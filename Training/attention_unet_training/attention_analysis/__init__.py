"""Where the attention gates look: coefficients, features before and after, and how much of it lies in the organs."""
