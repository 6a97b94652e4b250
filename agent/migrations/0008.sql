-- Whether a model takes pictures; null is what is known of it.
ALTER TABLE models ADD COLUMN images INTEGER CHECK (images IN (0, 1));
