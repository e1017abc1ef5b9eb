"""`python -m minibert`: the command line."""

from minibert.cli import main

raise SystemExit(main())
