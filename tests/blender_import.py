"""What Blender makes of a GLB or OBJ, as JSON: `python blender_import.py FILE JOB` in its Python.

JOB is JSON: `shapes` (names of shape keys whose displaced vertices are told), and for a picture of
the base colour alone `picture` (file), `size`, `eye`, `target` (glTF's axes), `fov` (radians).
"""

from __future__ import annotations

import json
import sys

import bpy
import numpy as np
from mathutils import Vector


def vertices(thing: object, points: object) -> list[list[float]]:
    """Coordinates in glTF's axes: Blender turns y up into z up, of a GLB the vertices, of an OBJ
    the object."""
    flat = np.zeros(3 * len(points), np.float32)
    points.foreach_get("co", flat)
    turned = flat.reshape(-1, 3) @ np.array(thing.matrix_world.to_3x3()).T
    x, y, z = (turned + np.array(thing.matrix_world.translation)).T
    return np.stack([x, z, -y], 1).round(7).tolist()


def told(thing: object, shapes: list[str]) -> dict:
    """What a mesh holds."""
    data = thing.data
    keys = data.shape_keys.key_blocks if data.shape_keys else {}
    return {
        "parent": thing.parent and thing.parent.name,
        "vertices": len(data.vertices),
        "triangles": sum(len(polygon.vertices) - 2 for polygon in data.polygons),
        "uvs": len(data.uv_layers),
        "materials": [material.name for material in data.materials],
        "shapes": [key.name for key in keys][1:],
        "weights": {key.name: key.value for key in list(keys)[1:] if key.value},
        "rest": vertices(thing, data.vertices),
        "moved": {name: vertices(thing, keys[name].data) for name in shapes if name in keys},
    }


def unlit() -> None:
    """Makes every surface emit its base colour."""
    for material in bpy.data.materials:
        if material.node_tree is None or "Principled BSDF" not in material.node_tree.nodes:
            continue
        tree, shader = material.node_tree, material.node_tree.nodes["Principled BSDF"]
        for link in list(shader.inputs["Base Color"].links):
            tree.links.new(link.from_socket, shader.inputs["Emission Color"])
            tree.links.remove(link)
        shader.inputs["Base Color"].default_value = (0, 0, 0, 1)
        shader.inputs["Specular IOR Level"].default_value = 0
        shader.inputs["Emission Strength"].default_value = 1


def picture(job: dict) -> None:
    """Renders the face alone."""
    scene = bpy.context.scene
    unlit()
    for thing in bpy.data.objects:
        thing.hide_render = thing.name != "face"
    lens = bpy.data.cameras.new("camera")
    lens.angle = job["fov"]
    camera = bpy.data.objects.new("camera", lens)
    scene.collection.objects.link(camera)
    eye, target = (Vector((x, -z, y)) for x, y, z in (job["eye"], job["target"]))
    camera.location = eye
    camera.rotation_euler = (target - eye).to_track_quat("-Z", "Y").to_euler()
    scene.camera = camera
    scene.render.engine, scene.cycles.samples, scene.cycles.device = "CYCLES", 8, "CPU"
    scene.cycles.max_bounces = 0
    scene.render.threads_mode, scene.render.threads = "FIXED", 1
    scene.render.resolution_x = scene.render.resolution_y = job["size"]
    scene.render.resolution_percentage = 100
    scene.render.film_transparent = True
    scene.view_settings.view_transform = "Standard"
    scene.render.filepath = job["picture"]
    bpy.ops.render.render(write_still=True)


file, job = sys.argv[1], json.loads(sys.argv[2])
bpy.ops.wm.read_factory_settings(use_empty=True)
if file.endswith(".glb"):
    bpy.ops.import_scene.gltf(filepath=file)
else:
    bpy.ops.wm.obj_import(filepath=file)
meshes = {x.name: told(x, job.get("shapes", [])) for x in bpy.data.objects if x.type == "MESH"}
images = {image.name: list(image.size) for image in bpy.data.images}
if "picture" in job:
    picture(job)
print("TOLD" + json.dumps({"meshes": meshes, "images": images}))
