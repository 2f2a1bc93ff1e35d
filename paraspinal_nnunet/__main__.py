"""`python -m paraspinal_nnunet` is the `paraspinal` command."""

import sys

from paraspinal_nnunet.cli import main

if __name__ == "__main__":
    sys.exit(main())
