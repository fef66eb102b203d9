-- Counters come later than the judgement that they are of, and name its place (metric_insert_late).
CREATE INDEX judgement_by_place ON judgement(run, place);
