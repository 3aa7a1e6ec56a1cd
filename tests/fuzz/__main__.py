"""``python -m tests.fuzz``; see ``campaign.py``."""

from tests.fuzz.campaign import main

if __name__ == "__main__":
    main()
