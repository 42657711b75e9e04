"""`python -m omnigen2.runner.execute FOLDER`: the job in a folder, in a process that Lightning can start again."""

import sys
from pathlib import Path

from omnigen2.errors import UserError
from omnigen2.runner.execute.worker import job_of, work

if __name__ == "__main__":
    try:
        sys.exit(work(job_of(Path(*sys.argv[1:2]))))
    except UserError as error:
        sys.exit(f"error: {error}")
