# The tool itself, Terraform included, for machines that have Docker only. See "In a container" in README.md.
ARG PYTHON_IMAGE=python:3.13-slim
ARG TERRAFORM_IMAGE=hashicorp/terraform:1.11

FROM ${TERRAFORM_IMAGE} AS terraform

FROM ${PYTHON_IMAGE}
COPY --from=terraform /bin/terraform /usr/local/bin/terraform
WORKDIR /opt/numerai-compute
COPY setup.py pyproject.toml README.md LICENSE ./
COPY cli cli
COPY node_template node_template
COPY terraform terraform
RUN pip install --no-cache-dir --disable-pip-version-check '.[aws,sandbox]' \
    && mkdir -p /home/numerai/.numerai /work \
    && chown -R 1000:1000 /home/numerai /work
ENV HOME=/home/numerai
USER 1000:1000
WORKDIR /work
ENTRYPOINT ["numerai"]
CMD ["--help"]
