-- What a run was taught when it began: genomes that passed in earlier runs of the same database, and
-- their times there. Written with the run and never again, so that the search, which rests on it, is
-- the same however often it is killed. None: nothing was known, or '--no-memory' was asked for.
CREATE TABLE lesson (
    run      INTEGER NOT NULL REFERENCES run(id),
    idx      INTEGER NOT NULL CHECK (idx >= 0),
    source   INTEGER NOT NULL REFERENCES run(id), -- where it was learned
    family   TEXT    NOT NULL,
    genes    TEXT    NOT NULL,
    numerics INTEGER NOT NULL CHECK (numerics IN (0, 1)),
    us       REAL    NOT NULL CHECK (us > 0),
    PRIMARY KEY (run, idx),
    CHECK (source < run)
) STRICT, WITHOUT ROWID;
