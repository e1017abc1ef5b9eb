"""Looking inside: every station of a forward pass and of its way back, in a terminal or a page."""

from minibert.inspection.page import write_page
from minibert.inspection.terminal import printed
from minibert.inspection.walk import Inspection, Station, inspect_text

__all__ = ["Inspection", "Station", "inspect_text", "printed", "write_page"]
