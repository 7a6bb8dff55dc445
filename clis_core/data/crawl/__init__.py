"""Names of categories go in; pictures of the web come out, each with where it is from and what became of it."""
