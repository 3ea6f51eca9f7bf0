# CPU by default; `docker build --build-arg EXTRA=cuda -t jaxface:cuda .` for NVIDIA GPUs.
FROM python:3.11-slim

ARG EXTRA=""

WORKDIR /app
COPY pyproject.toml README.md LICENSE ./
COPY jaxface jaxface
COPY pretrained pretrained
RUN pip install --no-cache-dir ".${EXTRA:+[$EXTRA]}"

# Other users (`docker run --user`) need to reach the folder of the photos, too.
RUN useradd --create-home jaxface && chmod 755 /home/jaxface
USER jaxface
WORKDIR /home/jaxface

ENTRYPOINT ["jaxface"]
CMD ["--help"]
