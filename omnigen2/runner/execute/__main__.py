"""`python -m omnigen2.runner.execute FOLDER`: the job in a folder, in a process that Lightning can start again."""

import sys
from pathlib import Path

from omnigen2.runner.execute.worker import job_of, work

if __name__ == "__main__":
    sys.exit(work(job_of(Path(sys.argv[1]))))
