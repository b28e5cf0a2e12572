"""The paper's tables as data, the constants fitted to them, and the audit of every cell."""
