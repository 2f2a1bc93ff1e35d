"""The paper's five figures."""
