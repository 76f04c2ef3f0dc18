# The tagger on CPUs: docker build -t ner-elmo . && docker run --rm -i -v "$PWD/models:/work/models" ner-elmo /app/predict.py --model models/mine
FROM python:3.12-slim AS wheel
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY biLM biLM
COPY ner_elmo ner_elmo
COPY data data
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.12-slim
RUN --mount=type=bind,from=wheel,source=/wheels,target=/wheels \
    pip install --no-cache-dir /wheels/*.whl
COPY train_ner.py predict.py /app/
RUN useradd --uid 1000 --create-home ner && mkdir /work && chown ner /work
USER 1000
WORKDIR /work
ENV PYTHONUNBUFFERED=1
ENTRYPOINT ["python"]
CMD ["-m", "ner_elmo", "--help"]
