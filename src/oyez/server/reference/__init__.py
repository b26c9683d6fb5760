"""The reference at `/docs`: OpenAPI and AsyncAPI documents and a page, made from the code."""
