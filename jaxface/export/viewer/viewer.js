// The interactive preview. THREE, OrbitControls and GLTFLoader are in the script before this one.
(() => {
  "use strict";
  const element = (id) => document.getElementById(id);
  const bytes = (id) => Uint8Array.from(atob(element(id).textContent.trim()), (c) => c.charCodeAt(0));
  const stage = element("stage");
  const fail = (error) => { element("message").textContent = `The face cannot be shown: ${error.message || error}`; };

  // Direction in camera space (x right, y up, z towards the viewer) and what it gives a white
  // surface: the studio of the still previews.
  const LIGHTS = [
    [[-0.6, 0.6, 0.8], [0.42, 0.41, 0.40]],
    [[0.8, 0.2, 0.7], [0.17, 0.17, 0.18]],
    [[0.0, 0.9, -0.3], [0.10, 0.10, 0.10]],
  ];
  const AMBIENT = 0.45;
  // Camera and tone mapper of the still previews: exposure; THREE.NeutralToneMapping.
  const EXPOSURE = 1.7, NEUTRAL = 7;

  let renderer;
  try {
    renderer = new THREE.WebGLRenderer({ antialias: true, alpha: true });
  } catch (error) {
    return fail(error);
  }
  renderer.toneMapping = NEUTRAL;
  renderer.toneMappingExposure = EXPOSURE;
  renderer.setPixelRatio(Math.min(devicePixelRatio, 2));
  stage.prepend(renderer.domElement);
  const scene = new THREE.Scene();
  const camera = new THREE.PerspectiveCamera(20, 1, 0.05, 20);
  camera.position.set(0, -0.05, 1.05);
  scene.add(camera);
  const controls = new THREE.OrbitControls(camera, renderer.domElement);
  controls.target.set(0, -0.06, -0.04);
  controls.enablePan = false;
  controls.minDistance = 0.35;
  controls.maxDistance = 2.5;
  controls.update();

  const ambient = new THREE.AmbientLight(0xffffff);
  const rig = new THREE.Group();
  camera.add(rig);
  scene.add(ambient);
  const lamps = LIGHTS.map(([direction, colour]) => {
    const lamp = new THREE.DirectionalLight(new THREE.Color(...colour));
    lamp.position.set(...direction);
    rig.add(lamp, lamp.target);
    return lamp;
  });

  const draw = () => renderer.render(scene, camera);
  let queued = false;
  const redraw = () => {
    if (queued) return;
    queued = true;
    requestAnimationFrame(() => { queued = false; draw(); });
  };
  const light = () => {
    const level = Number(element("brightness").value) * Math.PI;
    ambient.intensity = AMBIENT * level;
    lamps.forEach((lamp) => { lamp.intensity = level; });
    rig.rotation.y = THREE.MathUtils.degToRad(Number(element("azimuth").value));
    redraw();
  };
  const fit = () => {
    const { clientWidth: width, clientHeight: height } = stage;
    renderer.setSize(width, height, false);
    camera.aspect = width / height;
    // The head fills the shorter side.
    camera.fov = 2 * THREE.MathUtils.radToDeg(Math.atan(0.17 / Math.min(1, camera.aspect)));
    camera.updateProjectionMatrix();
    redraw();
  };
  element("azimuth").addEventListener("input", light);
  element("brightness").addEventListener("input", light);
  controls.addEventListener("change", redraw);
  new ResizeObserver(fit).observe(stage);

  const button = (parent, text, action) => {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = text;
    made.addEventListener("click", action);
    parent.append(made);
    return made;
  };
  const choose = (buttons, chosen) =>
    buttons.forEach((each) => each.setAttribute("aria-pressed", String(each === chosen)));

  const surfaces = (meshes, smooth) => {
    const materials = [...new Set(meshes.map((mesh) => mesh.material))];
    const kept = materials.map((m) => ({ map: m.map, normalMap: m.normalMap }));
    const show = (map, colour) => materials.forEach((material, index) => {
      material.map = map === "own" ? kept[index].map : map;
      material.color.set(colour);
      material.needsUpdate = true;
    });
    const choices = [
      ["complete", () => show("own", 0xffffff)],
      ["smooth", () => show(smooth, 0xffffff)],
      ["clay", () => show(null, 0xb8b0a8)],
    ];
    const buttons = choices.map(([name, action]) =>
      button(element("textures"), name, () => { action(); choose(buttons, buttons[choices.findIndex((c) => c[0] === name)]); redraw(); }));
    choose(buttons, buttons[0]);
    const relief = button(element("textures"), "relief", () => {
      const on = relief.getAttribute("aria-pressed") !== "true";
      materials.forEach((material, index) => {
        material.normalMap = on ? kept[index].normalMap : null;
        material.needsUpdate = true;
      });
      relief.setAttribute("aria-pressed", String(on));
      redraw();
    });
    relief.setAttribute("aria-pressed", "true");
  };

  // Hair is drawn as it is, or not at all.
  const wigs = (meshes) => {
    if (!meshes.length) return;
    const hair = button(element("textures"), "hair", () => {
      const on = hair.getAttribute("aria-pressed") !== "true";
      meshes.forEach((mesh) => { mesh.visible = on; });
      hair.setAttribute("aria-pressed", String(on));
      redraw();
    });
    hair.setAttribute("aria-pressed", "true");
  };

  const expressions = (meshes) => {
    const names = meshes[0].morphTargetDictionary;
    const photo = meshes[0].morphTargetInfluences.slice();
    const groups = {};
    Object.keys(names).forEach((name) => {
      const group = name.match(/^[a-z]+/)[0];
      (groups[group] ||= []).push(name);
    });
    const sliders = {};
    const set = (name, value) => meshes.forEach((mesh) => { mesh.morphTargetInfluences[names[name]] = value; });
    Object.entries(groups).forEach(([group, members]) => {
      const box = document.createElement("details");
      box.append(Object.assign(document.createElement("summary"), { textContent: group }));
      members.forEach((name) => {
        const label = document.createElement("label");
        const slider = Object.assign(document.createElement("input"),
          { type: "range", min: 0, max: 1, step: 0.01, value: photo[names[name]] });
        label.append(Object.assign(document.createElement("span"), { textContent: name.slice(group.length).replace("_", "") || name }), slider);
        slider.addEventListener("input", () => { set(name, Number(slider.value)); redraw(); });
        sliders[name] = slider;
        box.append(label);
      });
      element("expressions").append(box);
    });
    const pose = (weight) => () => {
      Object.keys(names).forEach((name) => {
        const value = weight * photo[names[name]];
        sliders[name].value = value;
        set(name, value);
      });
      redraw();
    };
    button(element("poses"), "of the photo", pose(1));
    button(element("poses"), "neutral", pose(0));
  };

  const texture = async (id) => {
    const picture = await createImageBitmap(new Blob([bytes(id)], { type: "image/jpeg" }));
    const made = new THREE.Texture(picture);
    made.colorSpace = THREE.SRGBColorSpace;
    made.flipY = false;
    made.needsUpdate = true;
    return made;
  };

  new THREE.GLTFLoader().parseAsync(bytes("face").buffer, "").then(async (gltf) => {
    const meshes = [], moving = [], locks = [];
    gltf.scene.traverse((node) => {
      if (!node.isMesh) return;
      if (node.morphTargetDictionary) moving.push(node);
      (/^(hair|lashes)/.test(node.material.name) ? locks : meshes).push(node);
    });
    const anisotropy = renderer.capabilities.getMaxAnisotropy();
    meshes.forEach(({ material }) => { if (material.map) material.map.anisotropy = anisotropy; });
    scene.add(gltf.scene);
    surfaces(meshes, await texture("smooth"));
    wigs(locks);
    expressions(moving);
    element("message").remove();
    fit();
    light();
    document.body.dataset.state = "ready";
  }).catch(fail);
})();
