"""A whole study from one study.yaml: settings, the steps that are its rules, and the workflow engine that runs them."""
