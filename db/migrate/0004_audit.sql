-- What the audit found of each gene: does it change launch or machine code? A family's genes without
-- a row were not looked at yet (or have one value only).
CREATE TABLE gene_audit (
    run    INTEGER NOT NULL REFERENCES run(id),
    family TEXT    NOT NULL,
    gene   TEXT    NOT NULL,
    state  TEXT    NOT NULL CHECK (state IN ('alive', 'dead', 'unknown')),
    by     TEXT    NOT NULL CHECK (by IN ('plan', 'code', '')), -- what differed
    pairs  INTEGER NOT NULL CHECK (pairs >= 0), -- of genomes that differ in it alone, found equal
    PRIMARY KEY (run, family, gene),
    CHECK ((state = 'alive') = (by <> ''))
) STRICT, WITHOUT ROWID;

-- Proposals that were refused because their genome had been proposed before.
ALTER TABLE run ADD COLUMN duplicates INTEGER NOT NULL DEFAULT 0 CHECK (duplicates >= 0);
