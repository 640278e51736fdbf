"""Which line fits the points of /in/points.csv best?  Gradient descent; writes /out/fit.json and /out/residuals.csv."""

points = []
with open("/in/points.csv") as table:
    next(table)
    for line in table:
        left, right = line.split(",")
        points.append((float(left), float(right)))

slope, offset = 0.0, 0.0
for _ in range(2000):
    errors = [slope * x + offset - y for x, y in points]
    slope -= 0.02 * sum(errors[i] * points[i][0] for i in range(len(points))) / len(points)
    offset -= 0.02 * sum(errors) / len(points)

print(f"y = {slope:.3f} x + {offset:.3f}")
with open("/out/fit.json", "w") as out:
    out.write(f'{{"slope": {slope:.12f}, "offset": {offset:.12f}, "points": {len(points)}}}\n')
with open("/out/residuals.csv", "w") as out:
    out.write("x,residual\n")
    for x, y in points:
        out.write(f"{x:.6f},{slope * x + offset - y:.12f}\n")
