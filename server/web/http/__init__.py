"""What all HTTP handlers share: declaration, strict decoding, errors, documents, assets."""
