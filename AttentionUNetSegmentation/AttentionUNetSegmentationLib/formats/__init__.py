"""Files of CTs and of results: one module for each family of formats."""
