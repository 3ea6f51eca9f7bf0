"""Writes `landmarks.npz`: what MediaPipe's own face landmarker finds in `examples/photos`.

python tests/data/make_landmark_references.py FACE_LANDMARKER.task

Needs mediapipe 0.10.21, which jaxface itself does not. The landmarker tracks a still picture until
its region of interest has settled, as jaxface's second pass does.
"""

import sys
from pathlib import Path

import mediapipe as mp
import numpy as np
from PIL import Image

HERE = Path(__file__).parent
PHOTOS = HERE.parents[1] / "examples" / "photos"
FRAMES = 30


def main() -> None:
    vision = mp.tasks.vision
    arrays = {}
    for file in sorted(PHOTOS.glob("*.jpg")):
        pixels = np.asarray(Image.open(file).convert("RGB"))
        options = vision.FaceLandmarkerOptions(
            base_options=mp.tasks.BaseOptions(model_asset_path=sys.argv[1]),
            running_mode=vision.RunningMode.VIDEO,
            output_face_blendshapes=True,
        )
        with vision.FaceLandmarker.create_from_options(options) as landmarker:
            for frame in range(FRAMES):
                image = mp.Image(image_format=mp.ImageFormat.SRGB, data=pixels)
                result = landmarker.detect_for_video(image, 1000 * frame)
        if not result.face_landmarks:
            print(f"{file.stem}: MediaPipe finds no face")
            continue
        points = np.array([(p.x, p.y) for p in result.face_landmarks[0]])
        height, width = pixels.shape[:2]
        arrays[file.stem] = (points * [width, height]).astype(np.float32)
        scores = result.face_blendshapes[0]
        arrays[f"{file.stem}/blendshapes"] = np.array([s.score for s in scores], np.float32)
        arrays["names"] = np.array([s.category_name for s in scores])
    np.savez_compressed(HERE / "landmarks.npz", **arrays)


if __name__ == "__main__":
    main()
