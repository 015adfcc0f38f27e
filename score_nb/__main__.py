"""`python -m score_nb` is the command `score_nb`. Kept by hand: what nbdev exports has no such name."""
import sys
from score_nb.cli import main

if __name__ == "__main__": sys.exit(main())
