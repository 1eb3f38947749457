"""What happens to voxels before and after the network: grids, intensities, organs, measures, warnings."""
