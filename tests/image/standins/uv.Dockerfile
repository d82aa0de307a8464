# Stands in for ghcr.io/astral-sh/uv: the program of the wheel, where the published image has it.
FROM scratch
COPY uv uvx /
