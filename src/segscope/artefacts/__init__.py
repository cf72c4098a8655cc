"""What the stages hand on: schemas, tables, records, pictures, atomic files; and work on all cores."""
