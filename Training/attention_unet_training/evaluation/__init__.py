"""Evaluation against reference labels: metrics, statistics, tables in the paper's form."""
