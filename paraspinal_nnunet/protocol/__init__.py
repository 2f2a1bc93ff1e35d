"""The paper's protocol: its numbers, how a run may differ from them, and how plans and records carry both."""
