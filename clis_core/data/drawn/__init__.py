"""A seed goes in; a drawn long-tailed data set comes out, with labelled pictures as unlike its scenes as is asked."""
