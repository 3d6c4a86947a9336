"""``python -m tests.fuzz TARGET [--seconds 60]``: coverage-guided fuzzing of one target (needs atheris).

Inputs that reach something new gather in ``build/fuzz/TARGET``; one that fails is written to ``build/fuzz`` and its
path printed. Mend what it shows, and add it to ``tests/fuzz/corpus/TARGET`` under a name that says what it is.
"""

import argparse
import sys
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
FOUND = Path("build/fuzz")
LONGEST = 4096


def main() -> None:
    try:
        import atheris
    except ImportError:
        sys.exit("atheris is missing: pip install 'atheris>=3' (CPython 3.11 and 3.12 on Linux have wheels)")
    # none of what is fuzzed may have been imported before: it would run without coverage
    with atheris.instrument_imports(include=["proxyd.wire", "proxyd.core"]):
        from tests.fuzz.targets import TARGETS
    words = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    words.add_argument("target", choices=sorted(TARGETS))
    words.add_argument("--seconds", type=int, default=60)
    options = words.parse_args()
    new = FOUND / options.target
    new.mkdir(parents=True, exist_ok=True)
    limits = [f"-max_total_time={options.seconds}", f"-max_len={LONGEST}", "-timeout=10", "-rss_limit_mb=1024"]
    artifacts = f"-artifact_prefix={FOUND}/{options.target}-"
    quiet = "-print_final_stats=1"
    folders = [str(new), str(CORPUS / options.target)]
    atheris.Setup([sys.argv[0], *limits, artifacts, quiet, *folders], TARGETS[options.target])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
