"""Files outside the database: a bucket of an S3-compatible store."""
