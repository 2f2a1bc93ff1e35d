"""How long the study's trainings take on this machine, measured on computed scans."""
