# Two images of one file:
#   docker build --tag paraspinal .                             segments and measures scans; the model is inside
#   docker build --target train --tag paraspinal-train .        trains, too: torch with CUDA, nnU-Net, MONAI
# See docs/how_to/container.md.

FROM python:3.12-slim-bookworm AS base
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# Whoever the container runs as finds the program, a place for caches, and no rights beyond its own.
ENV PATH=/opt/paraspinal/bin:$PATH HOME=/tmp
RUN useradd --uid 1000 --no-create-home --shell /usr/sbin/nologin paraspinal \
    && install --directory --owner paraspinal /data

FROM base AS build
WORKDIR /source
COPY . .
RUN python -m venv /opt/paraspinal \
    && /opt/paraspinal/bin/python -m pip install --constraint constraints.txt '.[fast,dicom,xlsx]'

FROM build AS build-train
RUN /opt/paraspinal/bin/python -m pip install --constraint constraints.txt torch torchvision \
    && /opt/paraspinal/bin/python -m pip install --constraint constraints.txt '.[train,export,report,statistics,study,fast,dicom,xlsx]'

# torch's own packages bring CUDA; of the machine only the driver is used, which NVIDIA's container toolkit hands in.
FROM base AS train
COPY --from=build-train /opt/paraspinal /opt/paraspinal
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    nnUNet_raw=/data/raw nnUNet_preprocessed=/data/preprocessed nnUNet_results=/data/results
USER 1000
WORKDIR /data
ENTRYPOINT ["paraspinal"]
CMD ["--help"]

FROM base AS predict
COPY --from=build /opt/paraspinal /opt/paraspinal
USER 1000
WORKDIR /data
ENTRYPOINT ["paraspinal"]
CMD ["--help"]
