-- The arms of a run (blind draws, a hill climber) are a twentieth each of a long one; a status that
-- compares them with the rest should not read the rest.
CREATE INDEX candidate_arms ON candidate(run, place) WHERE operator IN ('draw', 'climb');
