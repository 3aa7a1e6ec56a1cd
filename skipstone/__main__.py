"""``python -m skipstone``."""

from skipstone.cli import main

if __name__ == "__main__":
    main()
