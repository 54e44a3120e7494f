"""Join the rows of several runs of one experiment, for instance from several processes on a GPU.

`python experiments/merge.py TARGET.json SOURCE.json ...` adds to TARGET the rows of the others that
it does not have. A run from a copy of the files without Git knows no commit; `--commit` names it.
"""

from __future__ import annotations

from pathlib import Path

import cyclopts

from snnjax.app import comparison
from snnjax.io import records


def main(target: Path, *sources: Path, fields: tuple[str, ...] = (), commit: str = "") -> None:
    """Join rows.

    Parameters
    ----------
    target
        the JSON with all rows
    sources
        JSON files with rows to add
    fields
        that identify a row; by default network, method, encoding and seed
    commit
        that the sources were run from
    """
    names = fields or ("network", "method", "encoding", "seed")
    rows = comparison.read_rows(target) if target.is_file() else []
    known = {tuple(row[name] for name in names) for row in rows}
    for source in sources:
        for row in comparison.read_rows(source):
            key = tuple(row[name] for name in names)
            if key not in known:
                known.add(key)
                rows.append({**row, "commit": row["commit"] or commit or None})
    records.write_json(target, {"rows": rows})
    print(f"{target}: {len(rows)} rows")


if __name__ == "__main__":
    cyclopts.run(main)
