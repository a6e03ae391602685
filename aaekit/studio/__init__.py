"""The studio: a run in the browser. One server on this machine, one page, one room for each thing to do."""

from aaekit._extras import require

require("fastapi", extra="studio")
require("uvicorn", extra="studio")
