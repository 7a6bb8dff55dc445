"""Official data sets by name: their archives in, the layout that training expects out."""
