-- The smallest program, for the time that starting takes.
print(1)
