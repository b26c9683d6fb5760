"""The reference: OpenAPI and AsyncAPI documents and a page, made from the code that serves."""
